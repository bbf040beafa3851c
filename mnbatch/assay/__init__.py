"""Ground floor: what a slide, a cell and a score are, and the statistics of the assay. No images, no torch."""
