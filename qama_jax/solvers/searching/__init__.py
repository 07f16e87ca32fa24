"""What a search is made of: its clock, its limits, where its calls start, and how long they are."""
