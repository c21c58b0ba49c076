"""The links: what a placement sends over them, and how flows share them."""
