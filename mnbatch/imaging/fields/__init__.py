"""From camera fields and regions of whole slides to crops of cells."""
