/* An ordinary program with the C library, as people build static ones: streams, memory, a thread. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *twice(void *argument)
{
	long *value = argument;
	*value *= 2;
	return NULL;
}

int main(int argc, char **argv)
{
	char line[64] = "";
	long value = 21;
	pthread_t thread;
	FILE *file = fopen(argc > 1 ? argv[1] : "", "w+");
	if (!file) {
		fprintf(stderr, "%s\n", strerror(errno));
		return 1;
	}
	char *text = malloc(1 << 20);
	memset(text, 'x', 1 << 20);
	if (pthread_create(&thread, NULL, twice, &value) || pthread_join(thread, NULL))
		return 2;
	fprintf(file, "%ld %c %.2f\n", value, text[(1 << 20) - 1], value / 8.0);
	rewind(file);
	if (!fgets(line, sizeof line, file) || fclose(file))
		return 3;
	free(text);
	printf("%s", line);
	return getenv("PATH") ? 0 : 4;
}
