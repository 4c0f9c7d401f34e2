"""Chapters run from end to end on data in ImageNet's layout: only parameters change."""

import matplotlib
import pytest

matplotlib.use("agg")

import jupytext  # noqa: E402
from imagenet_tiny import COUNTS, shrink, write_all  # noqa: E402

from mae_lib.book.parameters import read_flat  # noqa: E402
from mae_lib.data.shifts import SHIFTS  # noqa: E402
from mae_lib.pages import accuracies  # noqa: E402
from mae_lib.runs import ROOT  # noqa: E402
from mae_lib.studies import robustness  # noqa: E402

# One published set for each of the paper's columns.
VARIANTS = [name for name, _, prefix in robustness.VARIANT_SPLITS if not prefix]
CHAPTERS = ["fig5", "fig6_7", "fig9", "table1", "table2", "table3_5", "table4", "section3_6",
            "latents"]


@pytest.fixture(scope="module")
def parameters(tmp_path_factory):
    root = write_all(tmp_path_factory.mktemp("data"), VARIANTS)
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch, tmp_path_factory.mktemp("results"), VARIANTS)
        patch.setattr(accuracies, "VARIANT_SPLITS", robustness.VARIANT_SPLITS)
        yield read_flat(ROOT / "params" / "smoke.yaml", ROOT) | COUNTS | {
            "datasets": ["imagenet"], "arm_datasets": ["imagenet"], "data_root": str(root),
            "train_images": 1000, "test_images": 40, "train_scenes": 2, "test_scenes": 3,
            "detector_epochs": 2}


def test_every_column_of_the_paper_has_its_set():
    assert len(VARIANTS) == len(SHIFTS)


@pytest.mark.parametrize("stem", CHAPTERS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_chapter_runs_on_imagenets_layout(stem, parameters, capsys):
    names: dict = {}
    for cell in jupytext.read(ROOT / "book" / f"{stem}.md").cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, stem, "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {name: value for name, value in parameters.items() if name in names}
    assert names["datasets"] == ["imagenet"] and names["plan"].core[0].dataset == "imagenet"
