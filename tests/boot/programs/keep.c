/* keep FILE TEXT: makes FILE hold TEXT, safe from a power cut, and shows what it holds now. The
 * exit status says which step failed. */
#include "start.h"

enum { HERE = -100, WRITE_CREATE_TRUNCATE = 01 | 0100 | 01000 };

/* In the data of the program, of which fork and exec make copies. */
static char buffer[4096] = "not read yet";
static long runs;

int program(long argument_count, char **arguments) {
	if (argument_count != 3 || arguments[3] || call(GETPID, 0, 0, 0, 0) < 2 || runs++ != 0)
		return 1;
	const char *file = arguments[1], *text = arguments[2];
	long fd = call(OPENAT, HERE, (word)file, WRITE_CREATE_TRUNCATE, 0644);
	if (fd < 0)
		return 2;
	if (call(WRITE, fd, (word)text, length(text), 0) != (long)length(text))
		return 3;
	if (call(FSYNC, fd, 0, 0, 0) != 0 || call(CLOSE, fd, 0, 0, 0) != 0)
		return 4;
	fd = call(OPENAT, HERE, (word)file, 0, 0);
	long count = call(READ, fd, (word)buffer, sizeof buffer - 1, 0);
	if (count != (long)length(text))
		return 5;
	buffer[count] = 0;
	return print("kept: ") && print(buffer) && print("\n") ? 0 : 6;
}
