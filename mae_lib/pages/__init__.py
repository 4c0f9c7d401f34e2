"""What the pages show: results and theory under readers' names, as tables, panels and HTML."""
