"""What a run leaves behind: ``summary.json``, Parquet tables, pictures, the HTML report, and the text on the terminal."""
