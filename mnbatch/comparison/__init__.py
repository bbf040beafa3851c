"""The paper's comparison of networks and protocols on anybody's labelled crops: one cell of the table at a time."""
