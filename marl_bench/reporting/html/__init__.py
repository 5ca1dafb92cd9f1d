"""The report as one self-contained HTML file: reading, tables, plots and the sample browser."""
