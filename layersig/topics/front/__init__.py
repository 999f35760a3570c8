"""The first screen of a report, and the last lines on a terminal: the answer in one sentence, with what limits it."""
