"""What a person opens: CSV tables and self-contained HTML pages, made from the store alone. No torch."""
