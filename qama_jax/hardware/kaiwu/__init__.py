"""The Kaiwu SDK of QBoson: its optimizers as a backend, in this process or in an interpreter of their own."""
