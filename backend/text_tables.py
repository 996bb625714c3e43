"""Tables in a terminal."""


def columns(rows: list[list[str]], heads: list[str]) -> list[str]:
    """A line for the heads and one for each row, in left-aligned columns."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [heads, *rows]
    ]


def table(rows: list[list[str]], heads: list[str]) -> None:
    """Print left-aligned columns."""
    print("\n".join(columns(rows, heads)))


def number(value: float | None) -> str:
    """A figure for a table."""
    return "-" if value is None else f"{value:.4g}"
