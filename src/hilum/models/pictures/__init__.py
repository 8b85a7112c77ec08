"""Pictures of networks for people: a table as text, a drawing as SVG."""

from hilum.models.pictures.picture import node_table, picture_svg, picture_text

__all__ = ["node_table", "picture_svg", "picture_text"]
