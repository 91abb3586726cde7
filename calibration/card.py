"""Sections of model cards that are measured after training."""

from __future__ import annotations


def insert_section(card: str, section: str) -> str:
    """Put a section into a model card, in place of its older self or before the limits.

    Args:
        card: Markdown.
        section: Markdown that begins with its heading of the second level.

    Returns:
        The card with the section in it once.
    """
    start = card.find(section[: section.index("\n") + 1])
    if start < 0:
        start = end = card.find("## Limits\n")
    else:
        end = card.find("\n## ", start) + 1
    if end <= 0:  # nothing comes after
        start = len(card) if start < 0 else start
        end = len(card)
    rest = card[end:]
    return card[:start] + section + ("\n" + rest if rest else "")
