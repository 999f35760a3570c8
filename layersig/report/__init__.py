"""What pages are made of: documents as HTML and Markdown, charts, numbers in words."""
