"""The parts of a report, one file each: a function `section` from a study or history to what is shown, or None."""
