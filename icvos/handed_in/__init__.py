"""What others hand in, read as if it were hostile: nothing is unpacked, followed, loaded or believed."""
