// CK, the conversion unit of KNQ (paper A, Fig. 3(b)): a layer's codes to its values,
// a multiplexor of the values d_0 .. d_(2^T - 1) of the layer's codebook.
module refq_ck #(
    parameter LAYERS = 2,
    parameter LAYER_BITS = 1,
    parameter VALUE_BITS = 12,
    parameter CODE_BITS = 1,
    // rows of values, d_0 lowest; where a codebook is shorter, no code selects the rest
    parameter [LAYERS*(1<<CODE_BITS)*VALUE_BITS-1:0] CODEBOOKS = 48'h00f_000_00f_000
) (
    input wire [LAYER_BITS-1:0] layer,
    input wire [CODE_BITS-1:0] code,
    output wire [VALUE_BITS-1:0] value
);
    localparam COUNT = 1 << CODE_BITS;

    wire [COUNT*VALUE_BITS-1:0] row;
    refq_rows #(LAYERS, LAYER_BITS, COUNT * VALUE_BITS, CODEBOOKS) rows (layer, row);
    // the row is in its turn a table: of values, by code
    reg [VALUE_BITS-1:0] chosen;
    integer k;
    always @* begin
        chosen = {VALUE_BITS{1'b0}};
        for (k = 0; k < COUNT; k = k + 1)
            if (code == k[CODE_BITS-1:0]) chosen = row[k*VALUE_BITS+:VALUE_BITS];
    end
    assign value = chosen;
endmodule
