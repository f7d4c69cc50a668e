"""Shell blocks of the documents, and a terminal into which a test types them."""

from pathlib import Path

typed_at = Path(__file__).with_name("typed.py")
"""Script that stands for a program; it is started by its path."""
