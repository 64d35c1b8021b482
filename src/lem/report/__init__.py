"""What the answers show, for people: on a terminal, as Markdown, as one page."""
