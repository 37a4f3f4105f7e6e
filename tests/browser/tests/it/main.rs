//! The product in a real browser, one program for all so that one turn is taken at a time.

mod main_way;
