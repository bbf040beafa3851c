"""What a person opens: CSV tables and self-contained HTML pages, made from the result store alone. No torch."""
