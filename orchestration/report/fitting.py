"""Makes a page shorter that would be too large to open at once; what is left out is said on it."""

from __future__ import annotations

from dataclasses import replace

from orchestration.report.page import Page, Section


def shorter(page: Page) -> Page | None:
    """Return the page with less on it; None where what is left is the least.

    First fewer models and conditions are shown in full, then fewer metadata columns, then fewer
    comparisons and no pictures of embeddings.
    """
    if len(page.sections) > 1:
        return replace(page, sections=page.sections[: len(page.sections) // 2])
    if any(_num_columns(section) > 1 for section in page.sections):
        return replace(page, sections=tuple(_with_fewer_columns(s) for s in page.sections))
    if len(page.comparisons) > 1:
        return replace(page, comparisons=page.comparisons[: len(page.comparisons) // 2])
    if page.embeddings is not None:
        return replace(page, embeddings=None)
    return None


def _num_columns(section: Section) -> int:
    residuals, boxes = section.residuals, section.boxes
    return max(
        len(section.fairness),
        0 if residuals is None else len(residuals.columns),
        0 if boxes is None else len(boxes.columns) - 1,
    )


def _with_fewer_columns(section: Section) -> Section:
    """Keep half of the columns, the same ones for all that is said of them."""
    num = _num_columns(section) // 2
    residuals, boxes = section.residuals, section.boxes
    return replace(
        section,
        fairness=section.fairness[:num],
        residuals=None
        if residuals is None
        else replace(residuals, columns=residuals.columns[:num]),
        # The first are all segments.
        boxes=None if boxes is None else replace(boxes, columns=boxes.columns[: 1 + num]),
    )
