"""Tables in Markdown. Pure; returns text."""


def table(header, rows):
    """A table whose first column is text, the others figures: its lines."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return lines + [""]
