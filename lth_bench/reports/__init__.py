"""Everything that readers see: tables in every format, figures, paper tables, the page."""
