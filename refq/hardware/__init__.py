"""What hardware is built and checked with: golden vectors, Verilog, C, diagnosis."""
