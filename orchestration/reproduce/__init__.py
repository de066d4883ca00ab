"""The papers' tables: their published values as data files, to hold our own beside them."""
