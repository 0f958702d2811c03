"""The Ray layer: sessions, actors, studies and run directories; importing it loads no Ray."""
