"""An order's trace: read from where traces are kept, told line by line, drawn as a waterfall."""
