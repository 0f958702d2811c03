"""The Ray layer: sessions, actors, studies and run directories; importing it does not load Ray."""
