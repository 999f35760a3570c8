"""What the topics of a report share: the records of a run, its arms and rankings, and how they are compared."""
