// A row of a table, by index: the decoder DEC1 and the multiplexor of paper A, Fig. 2(a).
// TABLE holds row 0 in its lowest bits. An index beyond the last row is never
// asked for: what it gives is left to synthesis, and unknown in simulation.
module refq_rows #(
    parameter ROWS = 2,
    parameter INDEX_BITS = 1,
    parameter ROW_BITS = 4,
    parameter [ROWS*ROW_BITS-1:0] TABLE = {ROWS * ROW_BITS{1'b0}}
) (
    input wire [INDEX_BITS-1:0] index,
    output reg [ROW_BITS-1:0] row
);
    integer k;
    always @* begin
        row = {ROW_BITS{1'bx}};
        for (k = 0; k < ROWS; k = k + 1)
            if (index == k[INDEX_BITS-1:0]) row = TABLE[k*ROW_BITS+:ROW_BITS];
    end
endmodule
