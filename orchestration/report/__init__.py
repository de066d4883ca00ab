"""The audit as one self-contained HTML file.

Reading order: `audit_folder` (what is read), `verdict` (what it means), `page` (what is shown, each
section in a module of its own), `figures` (where each mark stands), `render` (the template that
draws it all).
"""
