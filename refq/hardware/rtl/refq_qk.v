// QK, the quantization unit of KNQ (paper A, Fig. 3(a)): a layer's values to its codes,
//   code = how many thresholds t_1 .. t_(2^T - 1) of the layer are not above the value:
// a comparator for each threshold, and the priority encoder DEC2 for the last one that agrees.
// Signed values are compared without a sign: they and their thresholds are 2^(q_m-1) higher.
module refq_qk #(
    parameter LAYERS = 2,
    parameter LAYER_BITS = 1,
    parameter VALUE_BITS = 12,
    parameter CODE_BITS = 1,  // T of the layer with the most thresholds
    // VALUE_BITS, or 1 more where a layer has fewer thresholds: no value reaches 2^VALUE_BITS
    parameter THRESHOLD_BITS = 13,
    // rows of thresholds, t_1 lowest, ascending
    parameter [LAYERS*((1<<CODE_BITS)-1)*THRESHOLD_BITS-1:0] THRESHOLDS = 26'h2001000,
    parameter SIGNED = 0,  // 1 where a layer has signs
    // 2^(q_m-1) of layers with signs, 0 of others
    parameter [LAYERS*VALUE_BITS-1:0] VALUE_SIGNS = {LAYERS * VALUE_BITS{1'b0}}
) (
    input wire [LAYER_BITS-1:0] layer,
    input wire [VALUE_BITS-1:0] value,
    output reg [CODE_BITS-1:0] code
);
    localparam COUNT = (1 << CODE_BITS) - 1;

    wire [COUNT*THRESHOLD_BITS-1:0] row;
    refq_rows #(LAYERS, LAYER_BITS, COUNT * THRESHOLD_BITS, THRESHOLDS) rows (layer, row);
    wire [VALUE_BITS-1:0] value_sign;
    generate
        if (SIGNED != 0) begin : signs
            refq_rows #(LAYERS, LAYER_BITS, VALUE_BITS, VALUE_SIGNS) of_values (layer, value_sign);
        end else begin : no_signs
            assign value_sign = {VALUE_BITS{1'b0}};
        end
    endgenerate
    wire [VALUE_BITS-1:0] height = value ^ value_sign;

    // reached[k]: the value is at least t_k; of ascending thresholds the first ones are
    wire [COUNT+1:1] reached;
    assign reached[COUNT+1] = 1'b0;
    genvar t;
    generate
        for (t = 1; t <= COUNT; t = t + 1) begin : cmp
            wire [VALUE_BITS+1:0] threshold = {
                {VALUE_BITS + 2 - THRESHOLD_BITS{1'b0}}, row[(t-1)*THRESHOLD_BITS+:THRESHOLD_BITS]
            };
            assign reached[t] = {2'b00, height} >= threshold;
        end
    endgenerate

    integer k;
    always @* begin
        code = {CODE_BITS{1'b0}};
        for (k = 1; k <= COUNT; k = k + 1)
            code = code | (k[CODE_BITS-1:0] & {CODE_BITS{reached[k] & ~reached[k+1]}});
    end
endmodule
