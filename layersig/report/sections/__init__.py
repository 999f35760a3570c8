"""The parts of a report, one a module: `section(material)` gives a section, or None where there is nothing to say."""
