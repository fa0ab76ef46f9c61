"""The interface in Streamlit: `frame.py` is the script that runs for every page, the rest in rooms.

From the ground up: `server`, `anatomy`, `figures`, `lessons`, `classroom`; imports go down only.
Of the model it knows what the engine says.
"""
