"""The real sink of SQLite on a real file, with what befalls its calls."""
