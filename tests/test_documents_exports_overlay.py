import numpy as np

from platoon.documents.exports.overlay import CELLS, COLOURS, LINES, overlay
from platoon.documents.page import Label, Page
from tests.documents import NUMBERS, SIZE, blank, block, page


def test_blocks_and_lines_are_outlined_where_they_stand() -> None:
    drawn = overlay(page(block(Label.TITLE, "A title", top=100, left=50)), blank())
    assert tuple(drawn[130, 300]) == COLOURS[Label.TITLE]  # the foot of the block
    assert tuple(drawn[110, 120]) == LINES  # the end of the line
    assert tuple(drawn[400, 300]) == (255, 255, 255)


def test_cells_of_tables_are_outlined() -> None:
    drawn = overlay(page(block(Label.TABLE, table=NUMBERS)), blank())
    assert tuple(drawn[9, 4]) == CELLS


def test_labels_differ_in_colour_and_stay_inside_the_picture() -> None:
    edge = block(Label.FIGURE, box=(SIZE[0] - 20, 0, SIZE[0], 40))
    drawn = overlay(page(edge), blank())
    marked = np.all(drawn == COLOURS[Label.FIGURE], axis=2)
    assert marked.sum() > 200  # the outline and the ground of the label
    assert drawn.shape == blank().shape


def test_the_picture_itself_is_left_as_it_is() -> None:
    picture = blank()
    overlay(page(block(Label.TEXT, "said")), picture)
    assert np.array_equal(picture, blank())


def test_a_page_that_could_not_be_drawn_has_no_overlay() -> None:
    assert not overlay(Page(0, (0, 0), 1.0, (), error="damaged"), blank()[:0, :0]).size
