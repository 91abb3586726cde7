"""The dashboard: a page that shows a session while it runs, and starts and stops it."""
