// The built gateway with the official facilitator.

import { testGateway } from "../../gateway-suite.mjs";
import { startFacilitator } from "../facilitator.mjs";

testGateway(startFacilitator);
