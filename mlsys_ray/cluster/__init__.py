"""The Ray layer: sessions, actors and run directories. Importing it does not import Ray."""
