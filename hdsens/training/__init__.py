"""Pack -> records: `plain` trains cell by cell and is the oracle for anything faster."""
