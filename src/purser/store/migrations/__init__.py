"""The history of the tables, one Alembic revision a file in `versions`."""
