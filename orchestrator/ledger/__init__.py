"""The record: events on disk, the state that is their replay, and the one lock; it knows no strategy and no driver."""
