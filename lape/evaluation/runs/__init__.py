"""How measuring is run and kept: cell by cell, resumable, one file of evidence at the end."""
