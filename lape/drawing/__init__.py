"""Tables, charts and small pictures, as HTML and SVG without a style of their own."""
