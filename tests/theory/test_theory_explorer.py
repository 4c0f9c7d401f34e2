import io
import json
import re
from base64 import b64decode

import matplotlib.pyplot as plt
import pytest

from mae_lib.theory.explorer import mask_explorer
from mae_lib.theory.families import FIGURE4_MASKS, figure4, quadtree
from mae_lib.theory.graph import GraphError, HierGraph


def held(explorer) -> dict:
    """The data that the page gets."""
    return json.loads(re.search(r'"application/json">(.*?)</script>', explorer.html)[1])


def test_a_notebook_gets_html_a_sentence_and_a_picture():
    bundle = mask_explorer(figure4(), FIGURE4_MASKS, title="Try it")._repr_mimebundle_()
    assert bundle["text/plain"] == "Try it: hidden x2, x3, c = {z3}"
    assert 'aria-label="Try it"' in bundle["text/html"]
    picture = plt.imread(io.BytesIO(b64decode(bundle["image/png"])))
    assert picture.shape[:2] == (450, 700) and picture.min() < 0.3


def test_the_page_gets_the_graph_and_asks_no_other_site():
    graph, explorer = figure4(), mask_explorer(figure4(), FIGURE4_MASKS)
    data = held(explorer)
    assert [node["name"] for node in data["nodes"]] == list(graph.nodes)
    assert (data["parents"], data["children"], data["order"]) == (
        graph.parents, graph.children, graph.order)
    assert data["masks"]["aggressive"] == ["x1", "x2", "x3", "x4", "x5"]
    assert not re.findall(r"(?:src|href)=|url\(|@import|fetch\(", explorer.html)


def test_odd_names_cannot_end_the_script():
    graph = HierGraph([("<z>", "</script>")], ["</script>"])
    explorer = mask_explorer(graph, title='a "title" & <more>')
    assert held(explorer)["nodes"][1]["name"] == "</script>"
    assert "&lt;more&gt;" in explorer.html


@pytest.mark.parametrize(("call", "message"), [
    (lambda: mask_explorer(quadtree(8)), "1 to 16 pixels to be shown, got 64"),
    (lambda: mask_explorer(HierGraph([], [])), "got 0"),
    (lambda: mask_explorer(figure4(), {"a": ["z1"]}), "must hold pixels only, got the latent 'z1'"),
])
def test_graphs_and_masks_that_do_not_fit_are_refused(call, message):
    with pytest.raises(GraphError, match=message):
        call()
