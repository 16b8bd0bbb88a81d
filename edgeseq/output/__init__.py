"""What is done with finals: subtitles, figures, commands."""
