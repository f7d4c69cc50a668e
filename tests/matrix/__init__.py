"""Every version of every end that the bridge is said to work with, each tried for real."""
