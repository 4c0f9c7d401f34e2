"""Every figure, table, algorithm and theorem of the papers, and where the book treats it.

From ``book/coverage.yml``; the page on coverage and the table in the README are made of it.
"""

from __future__ import annotations

from functools import cache
from html import escape

import pandas as pd
import yaml

from mae_lib import runs

FILE = runs.ROOT / "book" / "coverage.yml"
PAPERS = {
    "kong": "Kong et al., \"Understanding Masked Autoencoders via Hierarchical Latent Variable "
            "Models\" (CVPR 2023)",
    "kong and zhang": "Kong and Zhang, \"Understanding Masked Image Modeling via Learning "
                      "Occlusion Invariant Feature\" (CVPR 2023)",
    "he": "He et al., \"Masked Autoencoders Are Scalable Vision Learners\" (CVPR 2022), as a "
          "talk by D. Kim shows it",
    "xie": "Xie et al., \"SimMIM: A Simple Framework for Masked Image Modeling\" "
           "(CVPR 2022), as the same talk shows it",
    "feichtenhofer": "Feichtenhofer et al., \"Masked Autoencoders As Spatiotemporal Learners\" "
                     "(NeurIPS 2022), as the talk presents it",
    "tong": "Tong et al., \"VideoMAE\" (NeurIPS 2022), as the talk presents it",
    "gupta": "Gupta et al., \"Siamese Masked Autoencoders\" (NeurIPS 2023), as the talk presents "
             "it",
    "zhang": "Zhang, Wang and Wang, \"How Mask Matters\" (NeurIPS 2022), as a talk by D. Kim "
             "presents it"}
WORDS = {"reproduced": "yes", "partly": "in part", "open": "no"}


def table(paper: str) -> str:
    """An HTML table of a paper's items for the page on coverage, each linked to its place."""
    runs.note_read(FILE)
    rows = "".join(
        f'<tr><th scope="row">{_link(item)}</th><td class="prose">{escape(item["about"])}</td>'
        f'<td class="prose">{escape(_treated(item))}</td></tr>' for item in _items()[paper])
    return (f'<table class="data"><caption>{escape(PAPERS[paper])}.</caption><thead><tr>'
            '<th scope="col">item</th><th scope="col">about</th><th scope="col">treated</th>'
            f'</tr></thead><tbody>{rows}</tbody></table>')


def counts() -> pd.DataFrame:
    """One row a paper: how many of its items are treated, in part, and not."""
    runs.note_read(FILE)
    return pd.DataFrame([{"paper": name.partition(",")[0]} | {
        word: sum(item["status"] == status for item in _items()[paper])
        for status, word in WORDS.items()} for paper, name in PAPERS.items()])


def readme() -> str:
    """The section on status of the README: a table in Markdown for every paper."""
    parts = []
    for paper, name in PAPERS.items():
        lines = [f"| {item['item']} | {item['about']} | {_file(item)} | {_treated(item)} |"
                 for item in _items()[paper]]
        parts.append("\n".join([f"{name}:", "", "| item | about | chapter | treated |",
                                "|---|---|---|---|", *lines]))
    return "\n\n".join(parts)


def _file(item: dict) -> str:
    return f"`{item['page']}.md`" if "page" in item else "–"


def _link(item: dict) -> str:
    if "page" not in item:
        return escape(item["item"])
    place = item["page"].rpartition("/")[2]
    return f'<a href="{place}.html#{item["label"]}">{escape(item["item"])}</a>'


def _treated(item: dict) -> str:
    word = WORDS[item["status"]]
    return f"{word}: {item['note']}" if "note" in item else word


@cache
def _items() -> dict[str, list[dict]]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))
