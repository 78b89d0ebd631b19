//! The grid of cells, its cursor, and what may be done to them. Rows and columns count from 0.
//!
//! Rows are kept in the order in which memory has them, and `order` says which is shown where:
//! scrolling turns that list and clears one row.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::cell::Cell;

/// A grid of cells. Every operation clamps what it is told to what there is.
#[derive(Debug)]
pub struct Screen {
    columns: usize,
    cells: Vec<Cell>,
    /// Which row of `cells` is shown at each row.
    order: Vec<usize>,
    changed: Vec<bool>,
    row: usize,
    column: usize,
    /// The last column has been written: the next character begins a new row.
    pub(crate) wraps: bool,
    /// The rows that scroll.
    region: Range<usize>,
    cursor_visible: bool,
}

impl Screen {
    /// An empty screen; each side is at least 1.
    #[must_use]
    pub fn new(columns: usize, rows: usize) -> Self {
        let (columns, rows) = (columns.max(1), rows.max(1));
        Self {
            columns,
            cells: vec![Cell::BLANK; columns * rows],
            order: (0..rows).collect(),
            changed: vec![true; rows],
            row: 0,
            column: 0,
            wraps: false,
            region: 0..rows,
            cursor_visible: true,
        }
    }

    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    #[must_use]
    pub fn rows(&self) -> usize {
        self.order.len()
    }

    /// Row and column of the cursor.
    #[must_use]
    pub fn cursor(&self) -> (usize, usize) {
        (self.row, self.column)
    }

    /// The column of the cursor, if it is in this row and to be seen.
    #[must_use]
    pub fn cursor_in(&self, row: usize) -> Option<usize> {
        (self.cursor_visible && self.row == row).then_some(self.column)
    }

    /// The cells of a row; none if there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[Cell] {
        let start = self.order.get(row).map_or(0, |row| row * self.columns);
        let end = if row < self.rows() { start + self.columns } else { start };
        self.cells.get(start..end).unwrap_or(&[])
    }

    /// The characters of a row.
    #[must_use]
    pub fn text(&self, row: usize) -> String {
        self.row(row).iter().map(|cell| cell.character).collect()
    }

    /// Whether a row has changed since the last time it was asked.
    pub fn take_changed(&mut self, row: usize) -> bool {
        self.changed.get_mut(row).is_some_and(core::mem::take)
    }

    /// Makes every row count as changed.
    pub fn touch_all(&mut self) {
        self.changed.fill(true);
    }

    fn cells_mut(&mut self, row: usize, columns: Range<usize>) -> &mut [Cell] {
        self.touch(row);
        let end = columns.end.min(self.columns);
        let start = columns.start.min(end);
        let base = self.order.get(row).map_or(0, |row| row * self.columns);
        self.cells.get_mut(base + start..base + end).unwrap_or_default()
    }

    fn touch(&mut self, row: usize) {
        if let Some(changed) = self.changed.get_mut(row) {
            *changed = true;
        }
    }

    /// Writes a cell at the cursor; whether that was the last column.
    pub(crate) fn put(&mut self, cell: Cell) -> bool {
        let (row, column) = (self.row, self.column);
        self.cells_mut(row, column..column + 1).fill(cell);
        if column + 1 < self.columns {
            self.column += 1;
            return false;
        }
        true
    }

    pub(crate) fn move_to(&mut self, row: usize, column: usize) {
        self.touch(self.row);
        self.row = row.min(self.rows() - 1);
        self.column = column.min(self.columns - 1);
        self.wraps = false;
        self.touch(self.row);
    }

    /// Moves up or down, not out of the region that scrolls if the cursor is inside it.
    pub(crate) fn move_rows(&mut self, by: isize) {
        let inside = self.region.contains(&self.row);
        let (first, last) =
            if inside { (self.region.start, self.region.end - 1) } else { (0, self.rows() - 1) };
        let row = self.row.saturating_add_signed(by).clamp(first, last);
        self.move_to(row, self.column);
    }

    pub(crate) fn move_columns(&mut self, by: isize) {
        self.move_to(self.row, self.column.saturating_add_signed(by));
    }

    pub(crate) fn show_cursor(&mut self, visible: bool) {
        self.cursor_visible = visible;
        self.touch(self.row);
    }

    /// Which rows scroll; fewer than two mean all of them.
    pub(crate) fn set_region(&mut self, rows: Range<usize>) {
        let end = rows.end.min(self.rows());
        self.region = if rows.start + 1 < end { rows.start..end } else { 0..self.rows() };
    }

    pub(crate) fn region(&self) -> Range<usize> {
        self.region.clone()
    }

    /// Goes to the next row, and scrolls where there is none.
    pub(crate) fn line_feed(&mut self, blank: Cell) {
        if self.row + 1 == self.region.end {
            self.scroll_up(self.region(), 1, blank);
        } else {
            self.move_to(self.row + 1, self.column);
        }
    }

    /// Goes to the row above, and scrolls where there is none.
    pub(crate) fn reverse_line_feed(&mut self, blank: Cell) {
        if self.row == self.region.start {
            self.scroll_down(self.region(), 1, blank);
        } else {
            self.move_to(self.row.saturating_sub(1), self.column);
        }
    }

    /// Moves the rows of a range up; empty ones come in below.
    pub(crate) fn scroll_up(&mut self, rows: Range<usize>, by: usize, blank: Cell) {
        let by = by.min(rows.len());
        if let Some(part) = self.order.get_mut(rows.clone()) {
            part.rotate_left(by);
        }
        self.erase_rows(rows.end - by..rows.end, blank);
        rows.for_each(|row| self.touch(row));
    }

    /// Moves the rows of a range down; empty ones come in above.
    pub(crate) fn scroll_down(&mut self, rows: Range<usize>, by: usize, blank: Cell) {
        let by = by.min(rows.len());
        if let Some(part) = self.order.get_mut(rows.clone()) {
            part.rotate_right(by);
        }
        self.erase_rows(rows.start..rows.start + by, blank);
        rows.for_each(|row| self.touch(row));
    }

    pub(crate) fn erase_rows(&mut self, rows: Range<usize>, blank: Cell) {
        for row in rows.start..rows.end.min(self.rows()) {
            self.cells_mut(row, 0..self.columns).fill(blank);
        }
    }

    /// Erases columns of the cursor's row.
    pub(crate) fn erase_columns(&mut self, columns: Range<usize>, blank: Cell) {
        self.cells_mut(self.row, columns).fill(blank);
    }

    /// Moves what is at the cursor and right of it to the right; empty cells come in.
    pub(crate) fn insert_cells(&mut self, count: usize, blank: Cell) {
        let part = self.cells_mut(self.row, self.column..self.columns);
        let count = count.min(part.len());
        part.rotate_right(count);
        part.iter_mut().take(count).for_each(|cell| *cell = blank);
    }

    /// Takes cells out at the cursor; what is right of them moves in.
    pub(crate) fn delete_cells(&mut self, count: usize, blank: Cell) {
        let part = self.cells_mut(self.row, self.column..self.columns);
        let count = count.min(part.len());
        part.rotate_left(count);
        part.iter_mut().rev().take(count).for_each(|cell| *cell = blank);
    }
}
