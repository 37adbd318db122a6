"""The offline page: one HTML file with every table, figure and record."""
